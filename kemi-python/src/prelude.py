"""The Python side of the engine. Its parts stand beside the Rust files of the same names and share one global scope."""

import _signal
import _thread
import ast
import builtins
import faulthandler
import functools
import gc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import types
import weakref

gettrace, settrace = sys.gettrace, sys.settrace
collect = gc.collect
set_signal, set_wakeup_fd = _signal.signal, _signal.set_wakeup_fd


def is_protocol(name):
    """Tells the names that Python itself asks for, such as __path__."""
    return name.startswith("__") and name.endswith("__")
