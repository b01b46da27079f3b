"""What the command line and the UI both call: the jobs of the program, whole."""
