"""Values → one HTML file that needs no network: a section a module, rendered by Jinja2, drawn by Bokeh."""
