"""``python -m flashstock``."""

from flashstock.cli import main

if __name__ == "__main__":
    main()
