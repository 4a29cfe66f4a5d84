"""What the machine asks about itself and of the site: `machine.py address`, `machine.py settle`,
`machine.py environment ID`, `machine.py started ID`.
"""

import os
import pwd
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ETC = "/etc/ec-deployer/"


def ask(url, method="GET", headers={}, timeout=5):
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read()


def replace(path, data, mode):
    """Writes a file of root's and the group app's whole or not at all."""
    with open(path + ".new", "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), 0, pwd.getpwnam("app").pw_gid)
    os.rename(path + ".new", path)


def public_address():
    """The address that EC2 gives the machine, else None."""
    try:
        # What cloud-id prints; cloud-init writes it at every boot.
        with open("/run/cloud-init/cloud-id") as file:
            if file.read().strip() != "aws":
                return None
    except OSError:
        return None
    imds = "http://169.254.169.254/latest/"
    for _ in range(5):
        try:
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            token = ask(imds + "api/token", "PUT", ttl, 2).decode()
            return ask(imds + "meta-data/public-ipv4", "GET", {"X-aws-ec2-metadata-token": token}, 2).decode()
        except urllib.error.HTTPError:
            return None
        except OSError:
            time.sleep(1)
    return None


def own_address():
    """The address of the interface that the default route leaves by; no packet is sent."""
    for _ in range(60):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("198.51.100.1", 9))
                return probe.getsockname()[0]
        except OSError:
            time.sleep(0.5)
    return "127.0.0.1"


def address():
    """Writes the machine's names, the one that visitors use first."""
    names = [public_address(), own_address(), socket.gethostname(), socket.getfqdn()]
    names = list(dict.fromkeys(name for name in names if name))
    replace(ETC + "hosts", ("\n".join(names) + "\n").encode(), 0o644)
    print("This machine is reached at %s." % names[0])


def settle():
    """Undoes a deployment that a power cut left half done: `next` is not what serves."""
    ready, serving = (os.path.realpath("/srv/app/" + name) for name in ("next", "current"))
    if os.path.isdir(ready) and ready != serving:
        lib = "/opt/ec-deployer/"
        undo = ["python3", "-IS", lib + "run.py", "python3", "-IS", lib + "database.py", "restore", ready]
        subprocess.run(undo, timeout=120)
    if ready != serving and os.path.lexists("/srv/app/next"):
        os.remove("/srv/app/next")
        if os.path.isdir(serving):
            os.symlink(serving, "/srv/app/next")


def environment(deployment):
    """Fetches the owner's variables, while the site gives them."""
    with open("/var/lib/ec-deployer/ship/" + deployment) as file:
        url, token = file.read().split("\n")[:2]
    for wait in (1, 2, 4, 8, None):
        try:
            data = ask(url + "/environment", "GET", {"Authorization": "Bearer " + token}, 20)
            break
        except OSError as error:
            status = getattr(error, "code", 0)
            if status == 404:
                data = b""
                break
            if wait is None or 400 <= status < 500:
                sys.exit("The site does not give the environment: %s" % error)
            print("The site did not answer (%s); asking again." % error)
            time.sleep(wait)
    replace(ETC + "app.env", data, 0o640)
    names = sorted(pair.split(b"=")[0].decode("utf-8", "replace") for pair in data.split(b"\0") if b"=" in pair)
    print("Variables of the owner: %s" % (", ".join(names) or "none"))


def started(deployment):
    """Waits until a release answers on its socket, whatever it says, or supervisor has given it up."""
    end = time.monotonic() + 60
    look = time.monotonic() + 2
    with open(ETC + "hosts") as file:
        host = file.read().split()[0]
    while time.monotonic() < end:
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(30)
                line.connect("/run/ec-deployer/%s.sock" % deployment)
                line.sendall(("GET / HTTP/1.0\r\nHost: %s\r\n\r\n" % host).encode())
                if line.recv(5) == b"HTTP/":
                    return
        except OSError:
            pass
        time.sleep(0.05)
        if time.monotonic() > look:
            look += 2
            status = subprocess.run(["supervisorctl", "status", "app-" + deployment], capture_output=True, timeout=20)
            if b"FATAL" in status.stdout or b"EXITED" in status.stdout:
                break
    sys.exit(1)


if sys.argv[1] == "address":
    address()
elif sys.argv[1] == "settle":
    settle()
elif sys.argv[1] == "environment":
    environment(sys.argv[2])
else:
    started(sys.argv[2])
