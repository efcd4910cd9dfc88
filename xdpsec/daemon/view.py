"""What control keeps up to date for whoever looks at the gateway. The values live in the room metrics, which may not
import this one; control builds its Source with metrics.shared.Reader."""

from xdpsec.metrics.values import DOWN as DOWN
from xdpsec.metrics.values import SERVING as SERVING
from xdpsec.metrics.values import STARTING as STARTING
from xdpsec.metrics.values import ChildView as ChildView
from xdpsec.metrics.values import MetricsView as MetricsView
from xdpsec.metrics.values import Port as Port
from xdpsec.metrics.values import SaView as SaView
from xdpsec.metrics.values import Source as Source
from xdpsec.metrics.values import View as View
from xdpsec.metrics.values import WorkerView as WorkerView
