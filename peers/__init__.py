"""How fast this project trains beside what people would use instead: `tox -e peers`."""
