"""Each watched tree's own cgroup."""
