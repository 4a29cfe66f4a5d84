"""What the machine asks about itself and of the site: `machine.py address`, `machine.py watch`, `machine.py settle`,
`machine.py environment ID DIGEST`, `machine.py requirements ID DIGEST`, `machine.py started ID`.
"""

import glob
import http.client
import os
import pwd
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ETC = "/etc/ec-deployer/"
LIB = "/opt/ec-deployer/"
IMDS = "http://169.254.169.254/latest/"
LOOK = 5  # Seconds between looks at the public address.
WAITS = (1, 2, 4, 8, 16, 30, 60, 60, None)  # Seconds between tries to ask the site.



class Stay(urllib.request.HTTPRedirectHandler):
    """The token goes to the site alone."""

    def redirect_request(self, *_):
        return None


# Neither the site nor the metadata service is behind a proxy.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)


def ask(url, method="GET", headers={}, timeout=5):
    request = urllib.request.Request(url, method=method, headers=headers)
    with OPENER.open(request, timeout=timeout) as answer:
        return answer.read()


def replace(path, data, mode):
    """Writes a file of root's and the group app's whole or not at all."""
    new = "%s.new-%d" % (path, os.getpid())
    with open(new, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), 0, pwd.getpwnam("app").pw_gid)
    os.rename(new, path)


def on_ec2():
    try:
        # What cloud-id prints, aws-china and aws-gov too; cloud-init writes it at every boot.
        with open("/run/cloud-init/cloud-id") as file:
            return file.read().startswith("aws")
    except OSError:
        return False


def public_address():
    """The address that EC2 gives the machine now, "" where it gives none; an OSError where it does not say."""
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = ask(IMDS + "api/token", "PUT", ttl, 2).decode()
    try:
        return ask(IMDS + "meta-data/public-ipv4", "GET", {"X-aws-ec2-metadata-token": token}, 2).decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return ""
        raise


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


def renew(public):
    """Writes the machine's names, the one that visitors use first; returns whether they are others than before."""
    names = [public, own_address(), socket.gethostname(), socket.getfqdn()]
    text = "".join(name + "\n" for name in dict.fromkeys(names) if name).encode()
    try:
        with open(ETC + "hosts", "rb") as file:
            if file.read() == text:
                return False
    except FileNotFoundError:
        pass
    replace(ETC + "hosts", text, 0o644)
    return True


def address():
    """Finds out the machine's names, before the project starts."""
    public = ""
    for _ in range(5 if on_ec2() else 0):
        try:
            public = public_address()
            break
        except OSError:
            time.sleep(1)
    renew(public)
    with open(ETC + "hosts") as file:
        print("This machine is reached at %s." % file.readline().strip())


def watch():
    """Renews the names whenever EC2 has given the machine another address, as an Elastic IP comes or goes. The project
    reads them when it is asked for a page: it need not start anew."""
    known = None
    while True:
        try:
            public = public_address()
        except OSError:
            public = known
        if public != known:
            known = public
            if renew(public):
                print("The public address is %s now." % (public or "gone"), flush=True)
        time.sleep(LOOK)


def settle():
    """Undoes a deployment that a power cut left half done: `next` is not what serves."""
    ready, serving = (os.path.realpath("/srv/app/" + name) for name in ("next", "current"))
    # One whose databases were being put back is done once more.
    undone = {os.path.dirname(os.path.dirname(mark)) for mark in glob.glob("/srv/app/releases/*/before/restoring")}
    for release in {*undone, ready} - {serving}:
        if os.path.isdir(release):
            undo = ["python3", "-IS", LIB + "run.py", "python3", "-IS", LIB + "database.py", "restore", release]
            subprocess.run(undo, timeout=900)
    if ready != serving and os.path.lexists("/srv/app/next"):
        os.remove("/srv/app/next")
        if os.path.isdir(serving):
            os.symlink(serving, "/srv/app/next")


def from_site(path, what, deployment):
    """What the site has for this deployment."""
    with open("/var/lib/ec-deployer/ship/" + deployment) as file:
        url, token = file.read().split("\n")[:2]
    for wait in WAITS:
        try:
            return ask(url + path, "GET", {"Authorization": "Bearer " + token}, 20)
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", 0)
            if wait is None or 300 <= code < 500 and code not in (408, 429):
                sys.exit("The site does not give %s: %s" % (what, error))
            print("The site did not answer (%s); asking again." % error)
            time.sleep(wait)


def known(path, what, deployment, digest):
    """The same, where it is what the deployment's script was made with and nothing else."""
    import hashlib

    data = from_site(path, what + " of this deployment", deployment)
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit("The site was upgraded while this deployment waited, and has other %s now: deploy again." % what[4:])
    return data


def requirements(deployment, digest):
    """Fetches the list of what is to be installed."""
    data = known("/requirements", "the requirements", deployment, digest)
    replace("/srv/app/releases/%s/listed" % deployment, data, 0o640)


def programs(deployment, digest):
    """Fetches the programs that the deployment's script does not bring along."""
    import json

    data = known("/programs", "the programs", deployment, digest)
    for name, text in json.loads(data).items():
        replace(LIB + name, text.encode(), 0o644)


def environment(deployment):
    """Fetches the owner's variables, while the site gives them."""
    data = from_site("/environment", "the environment", deployment)
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


def main(verb, *words):
    if verb == "environment":
        programs(*words)
        environment(words[0])
    elif verb == "requirements":
        requirements(*words)
    else:
        {"address": address, "watch": watch, "settle": settle, "started": started}[verb](*words)


if __name__ == "__main__":
    main(*sys.argv[1:])
