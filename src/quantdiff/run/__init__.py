"""The runtimes, each in a child process; the data that a file is given, and its inner tensors."""
