"""Values → one HTML file that needs no network: a file for each kind of result, rendered by Jinja2, drawn by Bokeh."""
