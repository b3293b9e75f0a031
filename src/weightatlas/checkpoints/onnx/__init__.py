"""ONNX: the wire format, the graph, and the names a network had before it was exported."""
