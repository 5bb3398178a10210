"""Frames in, frames out: planes, network, difference. Never opens a file."""

import sys

# Importing OpenVINO reports that to its maker over the network, from a child forked beside running threads.
# A module that is None cannot be imported: then OpenVINO (and nncf) take a stand-in that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
