"""Serves the page: arguments in, one call out."""

import argparse
import os
import sys

from lstm import checkpoint, hub
from lstm.config import Refused

PRIVATE = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"  # where a Space's proxy lives


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
    parser.add_argument(
        "--streams", type=int, default=os.environ.get("JUNGLE_STREAMS", 3), help="texts that one address may have open"
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=os.environ.get("JUNGLE_GRACE", 20),
        help="seconds that open texts have to end when the page is stopped",
    )
    parser.add_argument(
        "--proxies",
        default=os.environ.get("FORWARDED_ALLOW_IPS", PRIVATE if "SPACE_ID" in os.environ else ""),
        help="addresses or networks whose X-Forwarded-For is believed; none, but for a Space, which has a proxy",
    )
    parser.add_argument(
        "--mcp", action="store_true", help="answer language-model assistants at /mcp (needs requirements-mcp.txt)"
    )
    parser.add_argument(
        "--cluster",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="have the texts written by replicas on the Ray cluster at an address, or on one of this machine alone",
    )
    parser.add_argument("--replicas", type=int, default=1, help="engines that a cluster always runs")
    parser.add_argument("--most", type=int, default=8, help="engines that it runs when many texts are asked for")
    parser.add_argument("--pages", type=int, default=1, help="processes in which it serves the page")
    return parser.parse_args()


def main() -> int:
    """Serve until asked to stop. Returns 2, after one sentence, for what a person can mend."""
    options = arguments()
    try:
        if options.cluster is not None:
            return spread(options)
        opened = checkpoint.load(hub.folder(options.checkpoint))
        from lstm.web.server import serve  # after the checkpoint: a refusal need not wait for gradio

        limits = {"streams": options.streams, "grace": options.grace, "proxies": options.proxies}
        serve(opened, options.host, options.port, **limits, mcp=options.mcp)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return 0


def spread(options: argparse.Namespace) -> int:
    """Serve on a cluster. Raises Refused."""
    try:
        from lstm.cluster import ClusterConfig
        from lstm.web.ingress import reachable, serve_cluster
    except ModuleNotFoundError as error:
        raise Refused(f"{error.name} is not installed: pip install -r requirements-cluster.txt") from None

    name = reachable(options.checkpoint, options.cluster)
    asked = {field: getattr(options, field) for field in ("replicas", "most", "pages", "streams", "grace", "mcp")}
    config = ClusterConfig.checked(checkpoint=name, **asked)
    serve_cluster(config, options.cluster, options.host, options.port, options.proxies)
    return 0


if __name__ == "__main__":
    sys.exit(main())
