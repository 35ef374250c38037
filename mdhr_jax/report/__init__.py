"""The paper's tables from finished runs: what was measured, how sure it is, and where each number comes from.

``python -m mdhr_jax.report RUNS --out DIR``; docs/report.md describes the statistics.
"""
