"""Imported before aresbus, puts the extension module that ``ARESBUS_CORE`` names in the place of the installed one.

For the children of tests that show that they notice a bug planted in it (rust/planted.rs).
"""

import os
import sys
from importlib import util

if core := os.environ.get("ARESBUS_CORE"):
    spec = util.spec_from_file_location("aresbus._core", core)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["aresbus._core"] = module
    spec.loader.exec_module(module)
