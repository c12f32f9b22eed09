"""What a person sees who opens the record in MLflow's own pages: views, notes, links."""
