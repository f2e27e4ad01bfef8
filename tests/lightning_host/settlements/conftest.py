"""All of this is tested on a server that executes on the socket and on one that declines."""

from tests.support.both_kinds import bench

__all__ = ["bench"]
