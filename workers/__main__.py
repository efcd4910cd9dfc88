"""`python -m xdpsec.workers RECORD`: a worker process. Imports as root, gives up everything, runs. With `-` it waits
to be told its record in between."""

import sys

from xdpsec.channel.start import WorkerStart
from xdpsec.workers.worker import main, stand_by

if __name__ == "__main__":
    sys.exit(stand_by() if sys.argv[1] == "-" else main(WorkerStart.from_json(sys.argv[1])))
