"""`python -m xdpsec.workers RECORD`: a worker process. Imports as root, then gives up everything, then runs."""

import sys

from xdpsec.channel.start import WorkerStart
from xdpsec.workers.worker import main

if __name__ == "__main__":
    sys.exit(main(WorkerStart.from_json(sys.argv[1])))
