"""How long a Space takes from its folder to its first answer: the folder's size, the install, the start.

python benchmarks/space.py [--checkpoint checkpoints/jungle-book]    (downloads packages unless pip has them)
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from machine import describe

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="checkpoints/jungle-book")
    checkpoint = parser.parse_args().checkpoint
    print(describe())
    with tempfile.TemporaryDirectory() as room:
        space, python = Path(room, "space"), Path(room, "venv", "bin", "python")
        publish = ["-m", "lstm", "publish", "space", "me/page", "--checkpoint", checkpoint, "--dry-run", space]
        subprocess.run([sys.executable, *publish], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        size = sum(path.stat().st_size for path in space.rglob("*") if path.is_file())
        print(f"folder        {size / 1e6:6.1f} MB")
        subprocess.run([sys.executable, "-m", "venv", Path(room, "venv")], check=True)
        began = time.perf_counter()
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", space / "requirements.txt"], check=True)
        print(f"install       {time.perf_counter() - began:6.1f} s")
        for which in ("first", "second"):
            print(f"{which + ' start':14}{first_answer(python, space):6.1f} s until HTTP 200")


def first_answer(python: Path, space: Path) -> float:
    """Seconds from `python app.py`, in a Space's environment, to the page's first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port), "SPACE_ID": "me/page"}
    began = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([python, "app.py"], cwd=space, env=os.environ | settings, **quiet)
    try:
        while process.poll() is None and time.perf_counter() < began + 120:
            with suppress(urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
                return time.perf_counter() - began
            time.sleep(0.02)
        raise SystemExit("the page did not come up")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
