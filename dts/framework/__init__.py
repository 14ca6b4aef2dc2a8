# SPDX-License-Identifier: BSD-3-Clause
"""What every suite needs: a run with its own files, processes and namespaces, cleaned up by pid."""
