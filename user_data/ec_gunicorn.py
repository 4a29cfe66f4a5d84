"""How gunicorn serves a release: two processes, so that one slow page does not stop the others."""

import os
import time

bind = "unix:" + os.environ["EC_SOCKET"]
workers = 2
threads = 4
timeout = 60
graceful_timeout = 25
worker_tmp_dir = "/dev/shm"


def post_fork(server, worker):
    # The first process answers sooner where the second does not load the project beside it.
    if worker.age == 2:
        time.sleep(2)
