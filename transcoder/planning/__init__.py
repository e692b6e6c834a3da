"""Planning: variable specs, a mapping and a configuration become a plan. Pure: no file is read or written."""
