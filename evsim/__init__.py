"""evsim: an event-driven spiking-network simulator."""

from evsim._version import __version__ as __version__
