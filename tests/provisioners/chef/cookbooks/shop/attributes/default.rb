default['shop']['greeting'] = 'nothing'
default['shop']['port'] = 80
