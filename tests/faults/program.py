"""A program as an objective that does what its first argument says; then it prints x squared.

python program.py ACT X
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

act, x = sys.argv[1], float(sys.argv[2])
if act == "ignores":
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
if act in ("ignores", "hangs"):
    Path("begun").touch()
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    time.sleep(600)
if act == "exits":
    os._exit(7)
if act == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "stops":
    os.kill(os.getpid(), signal.SIGSTOP)
if act == "prints":
    line = b"x" * 1023 + b"\n"
    for _ in range(int(os.environ["METALOOP_PRINTED_MB"])):
        sys.stdout.buffer.write(line * 1024)
        sys.stderr.buffer.write(line)
    # The memory that the caller has used so far, in MB, is the value.
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    print(float(status.partition("VmHWM:")[2].split()[0]) / 1024)
    sys.exit()
if act == "child":
    subprocess.Popen(["sleep", "600"])
if act == "session":
    subprocess.Popen(["sleep", "600"], start_new_session=True)
if act == "daemon":
    subprocess.run(["sh", "-c", "setsid sleep 600 & exit"], check=True)
if act == "closes":
    print(x * x, flush=True)
    os.closerange(0, 64)
    os._exit(0)
if act == "folder":
    os.chdir("/")
if act == "recurses":

    def again() -> None:
        again()

    again()
if act == "text":
    print("a", "b")
    sys.exit()
if act == "odd":
    sys.stdout.buffer.write(b"\xff\xfe\0\x1b[31m\n1e999\n")
    sys.exit()
print(x * x)
