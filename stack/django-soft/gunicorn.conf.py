"""gunicorn reads this file from its working folder."""

bind = "0.0.0.0:8000"
workers = 2
threads = 4
# The app is loaded once, before the workers are forked: half the time to the first answer.
preload_app = True
# Heartbeats go to memory: the image's file system is read-only, and a slow disk is no hang.
worker_tmp_dir = "/dev/shm"
# Longer than nginx keeps an idle connection to us, so that it is never us who closes one that
# nginx is about to use.
keepalive = 75
graceful_timeout = 10
# Only nginx reaches this port; it says whether the visitor came by HTTPS.
forwarded_allow_ips = "*"
# Nothing here steers gunicorn at run time, and there is no place to put a socket.
control_socket_disable = True
