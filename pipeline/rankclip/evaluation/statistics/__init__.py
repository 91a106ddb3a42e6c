"""Estimates with their uncertainty.

estimate    a mean over seeds with Student's t
additive    differences of arms under score = arm + seed + residual, its variance pooled over all arms
bootstrap   a mean over test examples, resampled
correction  p-values of many comparisons
power       the smallest difference that seeds can show, and how many seeds one takes

The unit of replication of a study is the seed: a claim about a method needs the interval over seeds. The
bootstrap over examples tells how well these models are measured, which is another question; the two are
never mixed.
"""
