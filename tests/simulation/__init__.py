"""The whole pipeline in one process, in virtual time, with everything that can go wrong going wrong; one number decides it all."""
