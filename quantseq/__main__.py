"""``python -m quantseq`` is ``quantseq``."""

from quantseq.cli import main

if __name__ == "__main__":
    main()
