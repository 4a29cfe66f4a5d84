"""How gunicorn serves a release: two processes, so that one slow page does not stop the others."""

import os

bind = "unix:" + os.environ["EC_SOCKET"]
workers = 2
threads = 4
timeout = 60
graceful_timeout = 25
worker_tmp_dir = "/dev/shm"
