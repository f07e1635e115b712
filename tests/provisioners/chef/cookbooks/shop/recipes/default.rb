template '/etc/shop.conf' do
  source 'shop.conf.erb'
  mode '0640'
  variables greeting: node['shop']['greeting'], port: node['shop']['port']
end
