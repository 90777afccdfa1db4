"""`python -m bevdiag` is `bevdiag`."""

from bevdiag.cli.main import main

if __name__ == "__main__":
    main()
