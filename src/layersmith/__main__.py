"""`python -m layersmith`, for where the command itself is not on the path."""

from layersmith.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
