"""Tools for an assistant, over the Model Context Protocol."""
