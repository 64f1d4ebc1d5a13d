"""The exchange behind HTTP and WebSocket: its clock, its journal, its streams and its faults."""
