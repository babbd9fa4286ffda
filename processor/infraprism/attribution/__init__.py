"""Attribution of calls to customers, teams, projects and employees, held in a ContextVar."""
