"""Defect-Click: a few clicks give the precise mask of an industrial defect."""
