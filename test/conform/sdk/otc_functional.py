"""The functional tests that otcextensions brings for DMS queues, as installed, against the broker whose HTTP address, user,
password and project's name are given as arguments. One of them waits 50 s for the vendor's service to be ready: that waiting alone
is left out. Its tests of instances need networks and are not run."""

import os
import sys
import unittest

endpoint, user, password, project = sys.argv[1:5]
os.environ.update(OS_CLOUD="tidemark", OS_CLIENT_CONFIG_FILE=os.path.abspath("clouds.yaml"), OS_TEST_TIMEOUT="60")
with open("clouds.yaml", "w") as f:
    f.write(f"""
clouds:
  tidemark:
    region_name: local
    auth:
      auth_url: {endpoint}/v3
      username: {user}
      password: {password}
      project_name: {project}
      user_domain_name: Default
      project_domain_name: Default
""")

from otcextensions.tests.functional.sdk.dms.v1 import test_message  # noqa: E402  reads the cloud when it is imported


class NoWaiting:
    @staticmethod
    def sleep(_seconds):
        pass


test_message.time = NoWaiting
names = [f"otcextensions.tests.functional.sdk.dms.v1.test_{part}" for part in ("message", "misc", "queue", "service")]
result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(unittest.defaultTestLoader.loadTestsFromNames(names))
if not result.wasSuccessful() or result.testsRun < 6 or result.skipped:
    sys.exit(f"{result.testsRun} run, {len(result.skipped)} skipped, want at least 6 that pass")
