"""Files, images and the machine: everything outside the program."""
