"""Tests of interp; the shapes of all arrays in its signatures are checked while they run."""

from jaxtyping import install_import_hook

import tests.typed
from interp.utils.threads import wait_passively

wait_passively()

# It stays installed: interp's modules are imported at their first use.
install_import_hook("interp", f"{tests.typed.__name__}.typed")
