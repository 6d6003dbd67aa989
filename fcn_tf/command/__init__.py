"""How a mode is started: by a command line (main.py, flags.py), from Python (call.py)."""
