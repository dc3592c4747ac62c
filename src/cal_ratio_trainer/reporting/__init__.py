"""Pages and tables of all commands that report, as Markdown, HTML, text and CSV.

Results come from `scoring`, `runs` and `building`, figures from `plotting`. Nothing is computed from jets here, except
the histograms of `cr_trainer plot`.
"""
