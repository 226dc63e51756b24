"""What wakes a bus that follows another process's log: nothing appended behind its first look may wake nobody."""

import threading

import aresbus
from aresbus import watch


def test_what_is_appended_before_its_thread_runs_wakes_the_loop(tmp_path, monkeypatch):
    with aresbus.open(tmp_path / "log") as writer:
        writer.append("tick", 0)

        class LateThread(threading.Thread):
            def start(self):
                writer.append("tick", 1)
                super().start()

        woken = threading.Event()
        with aresbus.open(tmp_path / "log", mode="r") as reader:
            monkeypatch.setattr(watch.threading, "Thread", LateThread)
            watcher = watch.ReaderWatcher(reader, woken.set)
            try:
                assert woken.wait(20)
            finally:
                watcher.stop()
