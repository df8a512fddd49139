"""A page that runs a model in the browser: the streaming graph with what is shown of it, and the files of the page."""
