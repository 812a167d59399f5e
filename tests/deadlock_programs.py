"""Small programs in which nothing moves any more, and such that merely wait; they use next to no CPU."""

from __future__ import annotations

LOCK_HELD_AT_FORK = """
import multiprocessing as mp, threading
lock = threading.Lock()
def task():
    with lock:
        pass
if __name__ == "__main__":
    held, stop = threading.Event(), threading.Event()
    def hold():
        with lock:
            held.set()
            stop.wait()
    threading.Thread(target=hold, daemon=True).start()
    held.wait()
    child = mp.get_context("fork").Process(target=task)
    child.start()
    print("ready", flush=True)
    child.join()
"""

JOIN_BEFORE_DRAIN = """
import multiprocessing as mp
def fill(out):
    out.send(bytes(1 << 20))
if __name__ == "__main__":
    into, out = mp.Pipe(duplex=False)
    child = mp.get_context("fork").Process(target=fill, args=(out,), daemon=True)
    child.start()
    print("ready", flush=True)
    child.join()
"""

BOTH_WRITE = """
import multiprocessing as mp
def answer(connection):
    connection.send(bytes(5 << 20))
if __name__ == "__main__":
    ours, theirs = mp.Pipe()
    mp.get_context("fork").Process(target=answer, args=(theirs,), daemon=True).start()
    print("ready", flush=True)
    ours.send(bytes(5 << 20))
"""

LOCK_CYCLE = """
import threading
first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(2)
def take(one, other):
    with one:
        both.wait()
        with other:
            pass
threads = [threading.Thread(target=take, args=pair, daemon=True) for pair in ((first, second), (second, first))]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
"""

POOL_WAITS_FOR_ITSELF = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
def inner():
    return 1
def outer():
    started.wait()
    return pool.submit(inner).result()
import threading
started = threading.Barrier(2)
futures = [pool.submit(outer) for _ in range(2)]
print("ready", flush=True)
for future in futures:
    future.result()
"""

TASK_LOST = """
import multiprocessing as mp, os, signal, time
def task(number):
    time.sleep(0.3)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    with mp.get_context("fork").Pool(2) as pool:
        print("ready", flush=True)
        pool.map(task, range(4), chunksize=1)
"""

ANSWER_NEVER_COMES = """
import multiprocessing as mp, os, signal
def answer(answers):
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    context = mp.get_context("fork")
    answers = context.Queue()
    context.Process(target=answer, args=(answers,)).start()
    print("ready", flush=True)
    answers.get()
"""

IDLE_SERVER = """
import http.server, threading
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, args=(3600,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""

PREFORKED_SERVER = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
parent = os.getpid()
import ctypes, signal
for _ in range(2):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        listener.accept()
print("ready", flush=True)
os.wait()
"""

WAITS_FOR_A_TIME = """
import multiprocessing as mp, threading
def pause():
    threading.Event().wait(3600)
if __name__ == "__main__":
    child = mp.get_context("fork").Process(target=pause, daemon=True)
    child.start()
    print("ready", flush=True)
    child.join()
"""

READS_ITS_INPUT = """
import sys, threading
def read():
    sys.stdin.readline()
thread = threading.Thread(target=read)
thread.start()
print("ready", flush=True)
thread.join()
"""
