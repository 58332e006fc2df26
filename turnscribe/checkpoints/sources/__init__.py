"""Where the files of a named model come from: a repository of the Hub, or packages of the Python package index."""
