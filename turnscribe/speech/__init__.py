"""Where somebody speaks: the speech map that windows, word times and text are held against."""
