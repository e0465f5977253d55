"""`python -m flywheel` is the command `flywheel`."""

from flywheel.cli import main

if __name__ == "__main__":
    main()
