"""Watched process trees and their processes."""
