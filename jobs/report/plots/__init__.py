"""One kind of plot a module: from plain numbers to a `Plot`."""
