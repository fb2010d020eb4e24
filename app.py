"""Serves the page: arguments in, one call out."""

import argparse
import os
import sys

from lstm import checkpoint, hub
from lstm.config import Refused


def arguments() -> argparse.Namespace:
    """What the command line and the environment of a hosted page ask for."""
    parser = argparse.ArgumentParser(description="Open a trained model in the browser: it writes, you watch and steer.")
    parser.add_argument(
        "--checkpoint",
        default=os.environ.get("CHECKPOINT", "checkpoints/jungle-book"),
        help="folder that train.py wrote, or OWNER/NAME[@REVISION] on the Hugging Face Hub",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on; 0.0.0.0 for every network",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT"),
        help="port to listen on; the first free one from 7860 if none is given",
    )
    return parser.parse_args()


def main() -> int:
    """Serve until asked to stop. Returns 2, after one sentence, for what a person can mend."""
    options = arguments()
    try:
        opened = checkpoint.load(hub.folder(options.checkpoint))
        from lstm.web.server import serve  # after the checkpoint: a refusal need not wait for gradio

        serve(opened, options.host, options.port)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
