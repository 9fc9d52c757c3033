"""The entry of `python -m interp` and of the `interp` command, which sets threads before torch is loaded."""

import sys


def main() -> None:
    try:
        import interp
        from interp.utils.threads import wait_passively

        if sys.argv[1:] == ["--version"]:
            print(f"interp {interp.__version__}", flush=True)
            return
        wait_passively()
        from interp.cli import main as command

        command()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        from interp.utils.console import end_quietly

        sys.exit(end_quietly())


if __name__ == "__main__":
    main()
